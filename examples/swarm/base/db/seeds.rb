# Thousands of rows, the same ones at every seeding: what differs later was changed by somebody.
random = Random.new(1)
noon = Time.utc(2026, 1, 5, 12)
times = {created_at: noon, updated_at: noon}

User.create!(email: "operator@example.test", password: ENV.fetch("OPERATOR_PASSWORD"), **times)

Agent.insert_all!((1..500).map do |number|
  {name: format("agent-%03d", number), status: (number % 10).zero? ? "offline" : "online", last_seen_at: noon - random.rand(3600), **times}
end)

subjects = %w[Amber Birch Cobalt Delta Ember Falcon Granite Harbor Indigo Juniper]
purposes = %w[inventory survey migration audit cleanup rehearsal upgrade inspection]
Campaign.insert_all!((1..200).map do |number|
  {name: "#{subjects.sample(random:)} #{purposes.sample(random:)} #{number}", status: %w[done running draft][number % 3], **times}
end)

agents = Agent.order(:id).ids
Campaign.order(:id).pluck(:id, :status).each_slice(20) do |campaigns|
  Task.insert_all!(campaigns.flat_map do |campaign_id, campaign_status|
    Array.new(100) do
      done = campaign_status == "done" || (campaign_status == "running" && random.rand < 0.6)
      {campaign_id:, agent_id: agents.sample(random:), status: done ? "done" : "pending",
       result: ({duration: random.rand(5..900)} if done), **times}
    end
  end)
end

# As has_one_attached stores them, but with names and times that are always the same.
Campaign.order(:id).limit(5).each do |campaign|
  text = "Brief of #{campaign.name}\n\n" + Array.new(200) { |line| "#{line + 1}. #{random.hex(24)}\n" }.join
  io = StringIO.new(text)
  blob = ActiveStorage::Blob.build_after_unfurling(
    key: "brief#{campaign.id}", io:, filename: "brief-#{campaign.id}.txt", content_type: "text/plain", identify: false
  )
  blob.update!(created_at: noon, metadata: {identified: true, analyzed: true})
  blob.upload_without_unfurling(io)
  ActiveStorage::Attachment.insert!({name: "brief", record_type: "Campaign", record_id: campaign.id, blob_id: blob.id, created_at: noon})
end
