"""The HTTP scoring service: `tierwise serve`. Needs the extra `serve`; `import router` loads none of it."""
