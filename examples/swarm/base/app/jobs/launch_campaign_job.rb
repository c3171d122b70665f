# Works a campaign's tasks off and tells every open page how far it is.
class LaunchCampaignJob < ApplicationJob
  def perform(campaign)
    campaign.running!
    campaign.tasks.pending.in_batches(of: 100) do |tasks|
      tasks.update_all(status: "done")
      CampaignsChannel.broadcast_progress(campaign)
    end
    campaign.done!
    CampaignsChannel.broadcast_progress(campaign)
  end
end
