customers = %w[Anna Ben Clara].map { |name| Customer.create!(name: name) }
now = Time.current
Order.insert_all!((1..3000).map { |n| {customer_id: customers[n % 3].id, note: "Order #{n}", created_at: now, updated_at: now} })
