# A part of a long list.
class Page
  SIZE = 100

  include Enumerable
  delegate :each, to: :records

  attr_reader :number

  def initialize(scope, number)
    @scope = scope
    @number = [number.to_i, 1].max
  end

  def previous? = number > 1

  def next? = @scope.offset(number * SIZE).exists?

  private

  def records = @records ||= @scope.limit(SIZE).offset((number - 1) * SIZE).load
end
