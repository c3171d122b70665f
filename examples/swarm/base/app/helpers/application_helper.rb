module ApplicationHelper
  BADGES = {"online" => "good", "offline" => "bad", "healthy" => "good", "unhealthy" => "bad", "running" => "busy", "done" => "good"}.freeze

  def status_badge(status)
    tag.span(status, class: ["badge", BADGES[status]])
  end

  def navigation_link(name, path)
    link_to name, path, aria: {current: ("page" if request.path.start_with?(path))}
  end

  def page_links(page)
    tag.nav(class: "pages") do
      concat link_to("Previous", url_for(page: page.number - 1)) if page.previous?
      concat link_to("Next", url_for(page: page.number + 1)) if page.next?
    end
  end
end
