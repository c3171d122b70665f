# Does a campaign's tasks and tells every open page how far it is. Can be run again after it was interrupted.
class LaunchCampaignJob < ApplicationJob
  BATCH = 100

  def perform(campaign)
    campaign.running!
    campaign.plan if campaign.tasks.none?

    campaign.tasks.pending.in_batches(of: BATCH) do |tasks|
      tasks.update_all(status: "done", updated_at: Time.current)
      CampaignsChannel.broadcast_progress(campaign)
    end

    campaign.done!
    CampaignsChannel.broadcast_progress(campaign)
  end
end
