"""The site explains Foreact from its running code: blocks found by their symbols, shapes and figures recorded.

Used by docs/conf.py alone; the package does not need it.
"""
