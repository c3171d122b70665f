class HomeController < ApplicationController
  def index
    @orders = Order.count
  end
end
