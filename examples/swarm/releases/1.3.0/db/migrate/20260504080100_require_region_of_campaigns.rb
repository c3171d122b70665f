class RequireRegionOfCampaigns < ActiveRecord::Migration[7.2]
  class Campaign < ActiveRecord::Base
  end

  # Nothing gave existing campaigns a region: this is what is bad about the release.
  def up
    missing = Campaign.where(region: nil).count
    raise "#{missing} campaigns have no region" if missing.positive?

    change_column_null :campaigns, :region, false
  end

  def down
    change_column_null :campaigns, :region, true
  end
end
