class AgentsController < ApplicationController
  def index
    @metrics = Agent.metrics
    @agents = Agent.order(:name).limit(100)
  end

  def show
    @agent = Agent.find(params[:id])
  end
end
