class SessionsController < ApplicationController
  skip_before_action :require_login

  def new
  end

  def create
    user = User.find_by(email: credentials[:email])
    if user&.authenticate(credentials[:password])
      reset_session
      session[:user_id] = user.id
      redirect_to "/agents", status: :see_other
    else
      flash.now[:alert] = "Wrong e-mail address or password"
      render :new, status: :unprocessable_entity
    end
  end

  def destroy
    reset_session
    redirect_to "/login", status: :see_other
  end

  private

  def credentials = params.require(:session).permit(:email, :password)
end
