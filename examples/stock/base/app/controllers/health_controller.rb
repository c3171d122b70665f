class HealthController < ApplicationController
  def show
    database = Order.connection.select_value("SELECT 1") == 1
    render json: {ok: database, at: Time.current.iso8601(3), parts: {database: {ok: database}}}
  end
end
