# Thousands of rows, the same ones each time: only what was changed since can differ.
random = Random.new(20260105)
noon = Time.utc(2026, 1, 5, 12)
stamps = {created_at: noon, updated_at: noon}

User.create!(email: "operator@example.test", password: ENV.fetch("OPERATOR_PASSWORD"), **stamps)

Agent.insert_all!((1..500).map do |number|
  {name: format("agent-%03d", number), status: (number % 10).zero? ? "offline" : "online",
   last_seen_at: noon - random.rand(3600), **stamps}
end)
Campaign.insert_all!((1..200).map do |number|
  {name: format("Campaign %03d", number), status: %w[draft running done][number % 3], **stamps}
end)

agents = Agent.order(:id).ids
Campaign.order(:id).pluck(:id, :status).each_slice(50) do |campaigns|
  Task.insert_all!(campaigns.flat_map do |id, status|
    Array.new(100) do
      done = status == "done" || (status == "running" && random.rand < 0.6)
      {campaign_id: id, agent_id: agents.sample(random: random), status: done ? "done" : "pending",
       result: done ? {score: random.rand(1000)} : nil, **stamps}
    end
  end)
end

Campaign.order(:id).limit(5).each do |campaign|
  campaign.brief.attach(io: StringIO.new("Brief of #{campaign.name}\n" * 100), filename: "brief-#{campaign.id}.txt")
end
