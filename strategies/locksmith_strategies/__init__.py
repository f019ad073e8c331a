"""The strategies that ship with locksmith: plugins, no more privileged than anyone else's."""
