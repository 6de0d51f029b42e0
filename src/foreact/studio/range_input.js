// The browser's own slider. While a hand moves it, only the browser knows where it is: the server's answer to one press
// may arrive after the next press, so nothing that the server says of the page sets it, but `show` alone.
export default {
  template: `<input type="range" :min="low" :max="high" :step="step" :value="shown" @input="move" />`,
  props: { low: Number, high: Number, step: Number, value: Number },
  data() {
    return { shown: this.value };
  },
  methods: {
    move(event) {
      this.shown = event.target.valueAsNumber;
    },
    show(value) {
      this.shown = value;
    },
  },
};
