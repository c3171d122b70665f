class OrdersController < ApplicationController
  def index
    @orders = Order.includes(:customer).order(id: :desc)
    @orders = @orders.where("note LIKE ?", "#{Order.sanitize_sql_like(params[:note])}%") if params[:note]
    respond_to do |format|
      format.html { @orders = @orders.limit(20) }
      format.json { render json: @orders.as_json(only: %i[id note]) }
    end
  end

  def show
    @order = Order.find(params[:id])
  end

  def new
    @order = Order.new
  end

  def create
    @order = Order.new(params.require(:order).permit(:note))
    @order.customer = Customer.first
    @order.save ? redirect_to(@order) : render(:new, status: :unprocessable_entity)
  end

  def destroy
    Order.find(params[:id]).destroy!
    redirect_to orders_path, status: :see_other
  end
end
