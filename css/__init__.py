"""CSS, the conference scheduling server of a video-conferencing platform."""
