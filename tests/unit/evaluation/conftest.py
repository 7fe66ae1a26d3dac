from hypothesis import settings

# Machines that run many tests at once are slow at times, which says nothing about the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
