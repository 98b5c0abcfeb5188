"""Frames of many sessions rendered together.

FrameJob (job.py)              a frame on its way, from the audio that asks for it to its image
SessionRow (session_row.py)    what rendering keeps of a session between frames
BatchRenderer (renderer.py)    a job each of several sessions: motion, mixer, animator
MotionBatch (motion_batch.py)  the motion networks' state of all sessions, a row each
"""
