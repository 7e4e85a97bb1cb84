// Search shows a line of each page it finds, which browsers let it read from a server but not from disk.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
