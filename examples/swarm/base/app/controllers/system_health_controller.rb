class SystemHealthController < ApplicationController
  # Always 200: the page is there to be read, also on a bad day.
  def show
    @report = SystemHealth.report
    respond_to do |format|
      format.html
      format.json { render json: @report }
    end
  end
end
