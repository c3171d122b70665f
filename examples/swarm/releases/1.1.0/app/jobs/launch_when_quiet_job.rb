# Launches a campaign that is in no hurry, an hour after somebody asked for it.
class LaunchWhenQuietJob < ApplicationJob
  DELAY = 1.hour

  def perform(campaign)
    LaunchCampaignJob.perform_now(campaign) if campaign.draft?
  end
end
