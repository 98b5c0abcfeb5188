"""Peers, tracks, SDP checks, ICE, codecs and congestion control."""
