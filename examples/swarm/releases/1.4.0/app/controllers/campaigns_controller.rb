class CampaignsController < ApplicationController
  def index
    @campaigns = Campaign.order(:id)
    @campaigns = @campaigns.where("name LIKE ?", "#{Campaign.sanitize_sql_like(params[:name])}%") if params[:name]
    respond_to do |format|
      format.html do
        @eta = Campaign.eta
        @campaigns = @campaigns.merge(Campaign.by_urgency).limit(100)
      end
      format.json { render json: @campaigns.map { |campaign| campaign.slice(:id, :name, :status) } }
    end
  end

  def show
    @campaign = Campaign.find(params[:id])
  end

  def new
    @campaign = Campaign.new
  end

  def create
    @campaign = Campaign.new(campaign_params)
    if @campaign.save
      redirect_to @campaign, status: :see_other
    else
      render :new, status: :unprocessable_entity
    end
  end

  def destroy
    Campaign.find(params[:id]).destroy!
    redirect_to campaigns_path, status: :see_other
  end

  def launch
    campaign = Campaign.find(params[:id])
    LaunchCampaignJob.perform_later(campaign)
    redirect_to campaign, status: :see_other
  end

  private

  def campaign_params = params.require(:campaign).permit(:name, :brief)
end
