class AgentsController < ApplicationController
  def index
    @metrics = Agent.metrics
    @agents = Page.new(Agent.order(:name), params[:page])
  end

  def show
    @agent = Agent.find(params[:id])
    @tasks = Page.new(@agent.tasks.includes(:campaign).order(:id), params[:page])
  end
end
