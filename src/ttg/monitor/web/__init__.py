"""The dashboard: a live page over the :class:`~ttg.monitor.view.View`, with nothing fetched from elsewhere."""
