const at = (id) => document.getElementById(id);
const worker = new Worker("worker.js", { type: "module" });
worker.onmessage = ({ data }) => {
  at("loss").textContent = data.loss;
  at("status").textContent = `Finished: rank ${at("rank").value} on ${at("device").value}`;
};
at("files").onchange = async () => {
  const texts = await Promise.all([...at("files").files].map((file) => file.text()));
  at("status").textContent = `Ready: ${texts.join("").length} characters`;
};
at("start").onclick = () => {
  at("status").textContent = "Training";
  setTimeout(() => worker.postMessage("start"), 500);
};
at("download").onclick = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([at("status").textContent]));
  link.download = "status.txt";
  link.click();
};
at("misbehave").onclick = () => {
  fetch("http://127.0.0.1:9/away").catch(() => {});
  at("status").textContent = "Idle";
};
