class Current < ActiveSupport::CurrentAttributes
  attribute :account
end
