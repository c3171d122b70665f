// Takes Turbo Stream messages from Action Cable and puts them on the page: a small stand-in for @hotwired/turbo.
(() => {
  if (!document.querySelector("[id^=progress_]")) return;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/cable`, "actioncable-v1-json");
  const identifier = JSON.stringify({ channel: "CampaignsChannel" });
  socket.addEventListener("message", (event) => {
    const data = JSON.parse(event.data);
    if (data.type === "welcome") socket.send(JSON.stringify({ command: "subscribe", identifier }));
    if (!data.message) return;
    const holder = document.createElement("template");
    holder.innerHTML = data.message;
    const stream = holder.content.querySelector("turbo-stream[action=replace]");
    const target = stream && document.getElementById(stream.getAttribute("target"));
    if (target) target.replaceWith(stream.querySelector("template").content);
  });
})();
