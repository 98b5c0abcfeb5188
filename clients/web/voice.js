// Where the voice comes from: the microphone, the sample, or an audio file. Each becomes a MediaStream.

export async function openVoice(kind, file) {
  const context = new AudioContext({ latencyHint: "interactive" });
  try {
    await context.resume();
    if (kind === "microphone") return await openMicrophone(context);
    return await openRecording(context, kind === "sample" ? await fetchSample() : await file.arrayBuffer());
  } catch (error) {
    await context.close();
    throw error;
  }
}

async function openMicrophone(context) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("The microphone needs a secure page: open this page by https or on localhost.");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    throw new Error(microphoneProblem(error));
  }
  const meter = analyser(context, context.createMediaStreamSource(stream));
  return voice(context, stream, meter, {});
}

async function openRecording(context, bytes) {
  let buffer;
  try {
    buffer = await context.decodeAudioData(bytes);
  } catch {
    throw new Error("That file has no audio that this browser can play.");
  }
  const out = context.createMediaStreamDestination();
  const gain = context.createGain();
  gain.connect(out);
  let source = null;
  const pause = () => {
    if (source === null) return;
    source.onended = null;
    source.stop();
    source = null;
  };
  const play = (onEnded) => {
    pause();
    source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(gain);
    source.onended = () => {
      source = null;
      onEnded();
    };
    source.start();
  };
  return voice(context, out.stream, analyser(context, gain), { play, pause });
}

function voice(context, stream, meter, playback) {
  return {
    stream,
    ...playback,
    level: meter, // 0 to 1, linear in decibels, as loudness is heard
    stop: () => {
      playback.pause?.();
      for (const track of stream.getTracks()) track.stop();
      return context.close();
    },
  };
}

function analyser(context, source) {
  const node = context.createAnalyser();
  node.fftSize = 1024;
  source.connect(node);
  const wave = new Float32Array(node.fftSize);
  return () => {
    node.getFloatTimeDomainData(wave);
    const power = wave.reduce((sum, sample) => sum + sample * sample, 0) / wave.length;
    const decibels = 10 * Math.log10(power + 1e-10);
    return Math.max(0, Math.min(1, (decibels + 60) / 55));
  };
}

async function fetchSample() {
  const response = await fetch("/demo/voice.wav");
  if (!response.ok) throw new Error("The sample voice is not on this server.");
  return response.arrayBuffer();
}

function microphoneProblem(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "The microphone may not be used. Allow it in the browser's address bar, or take the sample voice.";
    case "NotFoundError":
      return "There is no microphone here. Take the sample voice or an audio file.";
    case "NotReadableError":
      return "The microphone is in use by another program.";
    default:
      return `The microphone cannot be opened (${error.name}).`;
  }
}
