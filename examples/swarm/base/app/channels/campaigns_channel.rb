# Carries Turbo Streams that keep the progress of campaigns up to date on open pages.
class CampaignsChannel < ApplicationCable::Channel
  STREAM = "campaigns"

  def self.broadcast_progress(campaign)
    ActionCable.server.broadcast(STREAM, ApplicationController.render(partial: "campaigns/progress_stream", locals: {campaign:}))
  end

  def subscribed
    stream_from STREAM
  end
end
