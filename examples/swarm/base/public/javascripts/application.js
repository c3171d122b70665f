// <turbo-cable-stream channel="CampaignsChannel"> shows the Turbo Streams of a channel for as long as it is on the page.
const consumer = ActionCable.createConsumer();

class TurboCableStream extends HTMLElement {
  connectedCallback() {
    this.subscription = consumer.subscriptions.create(this.getAttribute("channel"), {
      received: (stream) => Turbo.renderStreamMessage(stream),
    });
  }

  disconnectedCallback() {
    this.subscription.unsubscribe();
  }
}

customElements.define("turbo-cable-stream", TurboCableStream);
