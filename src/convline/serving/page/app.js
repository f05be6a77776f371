// The page at / of the server: show the model a picture, and see what it answers.
//
// Fitting and network are the server's: this sends it pictures and shows what comes back. One
// request is under way at a time. What changes meanwhile is asked about when the answer has come,
// as it is then; answers about what is no longer shown are dropped. Nothing is stored.

const INTERVAL = 100; // ms from one request to the next, at least
const RETRY = 2000; // ms until a server that is gone or busy is asked again
const PATIENCE = 30_000; // ms to wait for an answer
const SETTLED = 800; // ms that an answer stands before it is read out
const FEW = 12; // classes, up to which each has its bar, always at the same place
const MOST = 10; // bars where there are more classes
const PICTURES = 100; // taken at a time
const SIDE = { drawing: 280, camera: 480 }; // pixels of what is sent

const $ = (id) => document.getElementById(id);
const [stage, paper, video, picture] = ["stage", "paper", "video", "picture"].map($);

let model = null; // what GET /model says of it
let shown = null; // the subject on the stage
let tray = []; // the subjects of files, where several were chosen
let asking = false; // whether `ask` is at work

/** Something to ask about. `take` gives the picture file, as it is at that time. */
class Subject {
  answer = null;
  problem = "";
  asks = true; // whether it waits to be asked about
  gone = new AbortController();

  /** Of a picture, `view` is its address for the browser, as long as the browser can show it. */
  constructor(kind, name, take, view = "") {
    Object.assign(this, { kind, name, take, view });
  }

  drop() {
    this.gone.abort();
    URL.revokeObjectURL(this.view);
    if (this.kind === "camera") stopCamera();
  }
}

/** What went wrong, in words for people. After `retry` ms it may be gone. */
class Problem extends Error {
  constructor(words, retry = 0) {
    super(words);
    this.retry = retry;
  }
}

// Asking the server

/** The JSON that the server answers. Throws `Problem`. */
async function request(path, options = {}) {
  const signals = [AbortSignal.timeout(PATIENCE), ...(options.signal ? [options.signal] : [])];
  const signal = AbortSignal.any(signals);
  let response, content;
  try {
    response = await fetch(path, { headers: { Accept: "application/json" }, ...options, signal });
    content = parsed(await response.text());
  } catch (error) {
    const how = error.name === "TimeoutError" ? "takes too long to answer" : "does not answer";
    throw new Problem(`The server ${how}. Trying again…`, RETRY);
  }
  if (response.ok && content) return content;
  const status = `${response.status} ${response.statusText}`.trim();
  const busy = [429, 502, 503, 504].includes(response.status);
  throw new Problem(content?.error ?? `The server answers ${status}.`, busy ? RETRY : 0);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Ask about what waits, one after the other, until nothing does. */
async function ask() {
  if (asking) return;
  asking = true;
  try {
    for (let subject; (subject = shown?.asks ? shown : tray.find((item) => item.asks)); ) {
      const interval = pause(INTERVAL);
      subject.asks = false;
      await askAbout(subject);
      subject.asks ||= subject.kind === "camera";
      await interval;
    }
  } finally {
    asking = false;
  }
}

/** Get the answer about `subject`, or the problem, and show it. */
async function askAbout(subject) {
  const { signal } = subject.gone;
  try {
    const body = new FormData();
    body.append("file", await subject.take(), subject.name);
    const answer = await request("predict?fitted=1", { method: "POST", body, signal });
    // Another model may be in use since
    if (answer.model.onnx_md5 !== model?.onnx_md5) await meet();
    Object.assign(subject, { answer: answer.predictions[0], problem: "" });
    render(subject);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Problem)) throw error;
    Object.assign(subject, { answer: null, problem: error.message });
    render(subject);
    subject.asks ||= error.retry > 0;
    await pause(error.retry, signal);
  }
}

/** Wait for that time, or until `signal` comes. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", resolve);
  });
}

// What the stage shows

/** Put `subject`, or nothing, on the stage. */
function show(subject) {
  if (shown && shown !== subject && !tray.includes(shown)) shown.drop();
  shown = subject;
  wipe();
  stage.dataset.shows = subject?.kind ?? "nothing";
  render(subject);
  ask();
}

/** Show what is at `address`, or nothing. An image that is there already does not flicker. */
function setImage(image, address) {
  if (!address) image.removeAttribute("src");
  else if (image.getAttribute("src") !== address) image.src = address;
}

/** The address of a picture. One that browsers cannot show, as TIFF, is as the network sees it. */
function look(subject) {
  return subject?.view || subject?.answer?.fitted;
}

/** After the event `error` of an image of `subject`, a picture file. */
function cannotShow(subject) {
  if (!subject.view) return;
  URL.revokeObjectURL(subject.view);
  subject.view = "";
  render(subject);
}

function clear() {
  const dropped = tray;
  tray = [];
  show(null);
  dropped.forEach((item) => item.drop());
  listTray();
}

/** Show the problem, which is not about a picture. */
function complain(words) {
  clear();
  const nothing = new Subject("nothing");
  show(Object.assign(nothing, { problem: words, asks: false }));
}

// Drawing

const pencil = paper.getContext("2d");
const side = paper.width;
const pen = { x: side / 2, y: side / 2 }; // of the keyboard
let stroke = null; // its pointer, its last point and pressure, and the end of what is drawn

function wipe() {
  stroke = null;
  pencil.clearRect(0, 0, side, side);
  placePen();
}

function begin(pointer, x, y, pressure) {
  if (shown?.kind !== "drawing") {
    const take = () => square(paper, side, side, "drawing");
    const drawing = new Subject("drawing", "drawing.png", take);
    drawing.asks = false; // it is still blank
    show(drawing);
  }
  stroke = { pointer, x, y, endX: x, endY: y };
  extend(x + 0.1, y, pressure); // a dot, until it moves on
}

/** Draw on, in a smooth curve, to halfway between the last point and this one. */
function extend(x, y, pressure) {
  const endX = (stroke.x + x) / 2;
  const endY = (stroke.y + y) / 2;
  pencil.lineWidth = (side / 14) * pressure;
  pencil.lineCap = "round";
  pencil.beginPath();
  pencil.moveTo(stroke.endX, stroke.endY);
  pencil.quadraticCurveTo(stroke.x, stroke.y, endX, endY);
  pencil.stroke();
  Object.assign(stroke, { x, y, pressure, endX, endY });
  shown.asks = true;
  ask();
}

function end() {
  extend(stroke.x, stroke.y, stroke.pressure);
  stroke = null;
}

/** A picture file of the square in the middle of `source`, on white. */
function square(source, width, height, kind) {
  const cut = Math.min(width, height);
  const sheet = new OffscreenCanvas(SIDE[kind], SIDE[kind]);
  const context = sheet.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, sheet.width, sheet.height);
  const [left, top] = [(width - cut) / 2, (height - cut) / 2];
  context.drawImage(source, left, top, cut, cut, 0, 0, sheet.width, sheet.height);
  const type = kind === "drawing" ? "image/png" : "image/jpeg";
  return sheet.convertToBlob({ type, quality: 0.95 });
}

function drawByPointer(event) {
  const box = paper.getBoundingClientRect();
  // Browsers join the moves of a frame into one event
  const moves = event.getCoalescedEvents?.() ?? [];
  for (const move of moves.length ? moves : [event]) {
    const x = ((move.clientX - box.left) / box.width) * side;
    const y = ((move.clientY - box.top) / box.height) * side;
    const pressure = move.pointerType === "pen" && move.pressure ? 0.5 + move.pressure : 1;
    if (stroke) extend(x, y, pressure);
    else begin(event.pointerId, x, y, pressure);
  }
}

paper.addEventListener("pointerdown", (event) => {
  if (stroke?.pointer === "keyboard") end();
  if (stroke || event.button !== 0) return; // a second finger, or the palm
  paper.setPointerCapture(event.pointerId);
  drawByPointer(event);
});
paper.addEventListener("pointermove", (event) => {
  if (stroke?.pointer === event.pointerId) drawByPointer(event);
});
// After each pointerup and pointercancel
paper.addEventListener("lostpointercapture", (event) => {
  if (stroke?.pointer === event.pointerId) end();
});

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

paper.addEventListener("keydown", (event) => {
  const arrow = ARROWS[event.key];
  if (event.key === " " && !event.repeat) {
    if (stroke) end();
    else begin("keyboard", pen.x, pen.y, 1);
  } else if (arrow) {
    const step = side / 40;
    pen.x = Math.min(side, Math.max(0, pen.x + step * arrow[0]));
    pen.y = Math.min(side, Math.max(0, pen.y + step * arrow[1]));
    if (stroke) extend(pen.x, pen.y, 1);
  } else return;
  event.preventDefault();
  placePen();
});

function placePen() {
  $("pen").style.setProperty("--x", pen.x / side);
  $("pen").style.setProperty("--y", pen.y / side);
  $("pen").classList.toggle("down", stroke?.pointer === "keyboard");
}

// Picture files: chosen, dropped or pasted

function takeFiles(files) {
  if (!files.length) return complain("That holds no picture file.");
  clear();
  tray = [...files].slice(0, PICTURES).map((file) => {
    const take = async () => {
      try {
        return new Blob([await file.arrayBuffer()], { type: file.type });
      } catch {
        throw new Problem(`${file.name} cannot be read as a file.`);
      }
    };
    return new Subject("picture", file.name, take, URL.createObjectURL(file));
  });
  listTray();
  const rest = files.length - tray.length;
  if (rest) $("tray").append(element("li", `and ${rest} more, which are too many`));
  show(tray[0]);
}

/** A button for each of several pictures. */
function listTray() {
  $("tray").hidden = tray.length < 2;
  $("tray").replaceChildren(
    ...tray.map((subject) => {
      const image = element("img");
      image.alt = "";
      image.addEventListener("error", () => cannotShow(subject));
      subject.button = element("button", image, element("span"));
      subject.button.type = "button";
      subject.button.title = subject.name;
      subject.button.addEventListener("click", () => show(subject));
      return element("li", subject.button);
    }),
  );
  tray.forEach(renderButton);
}

function renderButton(subject) {
  const [image, words] = subject.button.children;
  setImage(image, look(subject));
  words.textContent = subject.answer?.class ?? (subject.problem ? "no answer" : "…");
  subject.button.setAttribute("aria-label", `${subject.name}: ${words.textContent}`);
  subject.button.setAttribute("aria-pressed", subject === shown);
}

$("choose").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", (event) => {
  if (event.target.files.length) takeFiles(event.target.files);
  event.target.value = ""; // the same file may be chosen twice
});
stage.addEventListener("click", () => {
  if (model && !model.ink && stage.dataset.shows === "nothing") $("files").click();
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) stage.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("dropping");
  takeFiles(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => takeFiles(event.clipboardData.files));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clear();
});
$("clear").addEventListener("click", clear);

// The camera

async function offerCamera() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  $("camera").hidden = !devices.some((device) => device.kind === "videoinput");
}

async function startCamera() {
  let stream;
  try {
    const wanted = { facingMode: "environment", width: { ideal: 640 }, height: { ideal: 480 } };
    stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
    clear();
    video.srcObject = stream;
    await video.play();
  } catch (error) {
    stream?.getTracks().forEach((track) => track.stop());
    const denied = error.name === "NotAllowedError";
    const why = denied ? "the browser does not allow it" : "perhaps another program uses it";
    return complain(`The camera cannot be used: ${why}.`);
  }
  const take = () => square(video, video.videoWidth, video.videoHeight, "camera");
  show(new Subject("camera", "camera.jpg", take));
  $("camera").textContent = "Take picture";
}

function stopCamera() {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  $("camera").textContent = "Camera";
}

/** Keep what the camera shows now, and switch it off. */
async function takePicture() {
  const camera = shown;
  const file = await camera.take();
  if (shown !== camera) return;
  show(new Subject("picture", camera.name, () => file, URL.createObjectURL(file)));
}

$("camera").addEventListener("click", () => {
  if (shown?.kind === "camera") takePicture();
  else startCamera();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden && shown?.kind === "camera") clear();
});

// The answer

/** Show what there is to say about `subject`, if it is in sight. */
function render(subject) {
  tray.forEach(renderButton);
  if (subject !== shown) return;
  setImage(picture, shown?.kind === "picture" ? look(shown) : "");
  picture.alt = shown?.name ?? "";
  const { answer, problem } = shown ?? {};
  const state = shown ? "asked" : "waiting";
  $("answer").dataset.state = problem ? "problem" : answer ? "answered" : state;
  $("class").textContent = answer?.class ?? "";
  $("class").classList.toggle("word", (answer?.class ?? "").length > 2);
  $("probability").textContent = answer ? percent(answer.probability) : "";
  if ($("problem").textContent !== (problem ?? "")) $("problem").textContent = problem ?? "";
  setImage($("fitted"), answer?.fitted);
  $("fitted").alt = answer ? `Your picture in ${model.shape[1]} by ${model.shape[0]} pixels` : "";
  renderBars(answer?.probabilities);
  announce(answer);
}

/** A bar for each of few classes, or the highest of many. Rows stay, so that bars can move. */
function renderBars(probabilities) {
  if (!model) return;
  const many = model.classes.length > FEW;
  const names = many && !probabilities ? [] : model.classes;
  const rows = names.map((name) => [name, probabilities?.[name] ?? 0]);
  if (many) rows.sort((one, other) => other[1] - one[1]);
  const rest = many ? rows.splice(MOST) : [];
  const highest = probabilities ? Math.max(...rows.map(([, share]) => share)) : Infinity;
  const bars = $("bars");
  bars.classList.toggle("many", many);
  while (bars.children.length > rows.length) bars.lastChild.remove();
  while (bars.children.length < rows.length) {
    bars.append(element("li", element("span"), element("div"), element("span")));
  }
  rows.forEach(([name, share], i) => {
    const [title, bar, value] = bars.children[i].children;
    title.textContent = title.title = name;
    bar.style.setProperty("--share", share);
    value.textContent = probabilities ? percent(share) : "";
    bars.children[i].classList.toggle("highest", share === highest);
  });
  const sum = rest.reduce((total, [, share]) => total + share, 0);
  $("others").textContent = rest.length ? `${rest.length} more classes: ${percent(sum)}` : "";
}

let announced = ""; // the class that was or will be read out
let timer = 0;

/** Have the answer read out once its class has stood for a while, not each change of a bar. */
function announce(answer) {
  const of = tray.length > 1 ? `${shown?.name}: ` : "";
  const now = answer ? of + answer.class : "";
  if (now === announced) return;
  announced = now;
  clearTimeout(timer);
  timer = setTimeout(() => {
    const answer = shown?.answer;
    $("spoken").textContent = answer ? `${now}, ${percent(answer.probability)}` : "";
  }, SETTLED);
}

/** "98.2 %". Neither certain nor impossible, where a network never is. */
function percent(share) {
  if (share > 0.999) return "> 99.9\u00a0%";
  if (share < 0.001) return "< 0.1\u00a0%";
  return `${(100 * share).toFixed(1)}\u00a0%`;
}

// The model

/** Ask which model is in use, until the server says it, and show it. */
async function meet() {
  try {
    model = await request("model");
  } catch (error) {
    $("knows").textContent = error.message;
    await pause(RETRY);
    return meet();
  }
  document.body.className = model.ink ? "ink" : "pictures";
  document.title = `Ask the model: ${model.dataset}`;
  const names = new Intl.ListFormat("en-GB").format(model.classes);
  const classes = names.length < 120 ? names : `${model.classes.length} classes`;
  const how = model.ink ? "Draw one, or show it a picture." : "Show it a picture.";
  $("knows").textContent = `It knows ${classes}. ${how}`;
  renderFacts();
  renderBars();
}

function renderFacts() {
  const { figures, shape, quantization } = model;
  const facts = [["Model", model.dataset + (quantization === "none" ? "" : `, ${quantization}`)]];
  if (model.revision) facts.push(["Revision", model.revision]);
  if (figures) {
    facts.push(["Test accuracy", `${(100 * figures.accuracy).toFixed(2)}\u00a0%`]);
    facts.push(["Test errors", figures.errors.toLocaleString("en")]);
  }
  const [height, width, channels] = shape;
  facts.push(["Input", `${width} × ${height}, ${channels === 3 ? "colour" : "grey"}`]);
  facts.push(["md5", element("code", model.md5)]);
  $("facts").replaceChildren(
    ...facts.map(([name, value]) => element("div", element("dt", name), element("dd", value))),
  );
}

function element(name, ...content) {
  const made = document.createElement(name);
  made.append(...content);
  return made;
}

wipe();
offerCamera();
navigator.mediaDevices?.addEventListener("devicechange", offerCamera);
meet();
