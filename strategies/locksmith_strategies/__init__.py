"""The strategies that ship with locksmith: plugins without more rights than those of other packages."""
