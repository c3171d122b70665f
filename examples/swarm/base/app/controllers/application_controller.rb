class ApplicationController < ActionController::Base
  before_action :require_login

  private

  def require_login
    redirect_to "/login", status: :see_other unless current_user
  end

  def current_user = @current_user ||= User.find_by(id: session[:user_id])
end
