class DemandRegionOfCampaigns < ActiveRecord::Migration[7.2]
  class Campaign < ActiveRecord::Base
  end

  # No campaign has a region yet: this is the mistake of the release.
  def up
    without = Campaign.where(region: nil).count
    raise "#{without} campaigns have no region" if without.positive?

    change_column_null :campaigns, :region, false
  end

  def down
    change_column_null :campaigns, :region, true
  end
end
