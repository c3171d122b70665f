class SystemHealthController < ApplicationController
  # Answers 200 also when something is wrong: the page is there to be read on a bad day.
  def show
    @report = SystemHealth.report

    respond_to do |format|
      format.html
      format.json { render json: @report }
    end
  end
end
