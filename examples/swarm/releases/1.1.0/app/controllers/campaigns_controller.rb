class CampaignsController < ApplicationController
  before_action :set_campaign, only: [:show, :destroy, :launch]

  def index
    campaigns = Campaign.order(:id)
    campaigns = campaigns.named(params[:name]) if params[:name].present?

    respond_to do |format|
      format.html do
        @eta = Campaign.eta
        @campaigns = Page.new(campaigns, params[:page])
      end
      format.json { render json: campaigns.as_json(only: [:id, :name]) }
    end
  end

  def show
  end

  def new
    @campaign = Campaign.new
  end

  def create
    @campaign = Campaign.new(campaign_params)

    if @campaign.save
      CampaignsChannel.broadcast_progress(@campaign)
      redirect_to @campaign, status: :see_other, notice: "The campaign was created."
    else
      render :new, status: :unprocessable_entity
    end
  end

  def destroy
    @campaign.destroy!
    redirect_to campaigns_path, status: :see_other, notice: "The campaign was deleted."
  end

  def launch
    if @campaign.draft?
      @campaign.urgent? ? LaunchCampaignJob.perform_later(@campaign) : LaunchWhenQuietJob.set(wait: LaunchWhenQuietJob::DELAY).perform_later(@campaign)
    end
    redirect_to @campaign, status: :see_other
  end

  private

  def set_campaign
    @campaign = Campaign.find(params[:id])
  end

  def campaign_params
    params.require(:campaign).permit(:name, :priority, :brief)
  end
end
