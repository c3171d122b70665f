class SessionsController < ApplicationController
  skip_before_action :require_login

  def new
  end

  def create
    if (user = User.authenticate_by(session_params))
      reset_session
      session[:user_id] = user.id
      redirect_to agents_path, status: :see_other
    else
      flash.now[:alert] = "Wrong e-mail address or password."
      render :new, status: :unprocessable_entity
    end
  end

  def destroy
    reset_session
    redirect_to login_path, status: :see_other
  end

  private

  def session_params
    params.require(:session).permit(:email, :password)
  end
end
