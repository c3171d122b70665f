class Task < ApplicationRecord
  belongs_to :campaign
  belongs_to :agent, optional: true

  enum :status, {pending: "pending", done: "done"}
end
