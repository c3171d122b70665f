# Turbo Streams over Action Cable: each message replaces a campaign's progress on every page that shows it.
class CampaignsChannel < ApplicationCable::Channel
  def subscribed
    stream_from "campaigns"
  end

  def self.broadcast_progress(campaign)
    html = ApplicationController.render(partial: "campaigns/progress", locals: {campaign: campaign})
    stream = %(<turbo-stream action="replace" target="progress_#{campaign.id}"><template>#{html}</template></turbo-stream>)
    ActionCable.server.broadcast("campaigns", stream)
  end
end
