"""Head pose and gaze by diffusion: denoiser, samplers, sliding windows."""
