module ApplicationCable
  class Connection < ActionCable::Connection::Base
    identified_by :current_user

    def connect
      session = cookies.encrypted[Rails.application.config.session_options[:key]] || {}
      self.current_user = User.find_by(id: session["user_id"]) || reject_unauthorized_connection
    end
  end
end
