"""One alert as a page for a browser: what was decided, how evidence revised it, and what is to be seen on it.

`collect` gathers it from the topics, the documents and the services; `page` writes it, and knows none of these.
"""
