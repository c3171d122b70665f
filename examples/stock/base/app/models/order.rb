class Order < ApplicationRecord
  belongs_to :customer
  validates :note, presence: true
end
