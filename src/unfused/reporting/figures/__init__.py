"""Figures as :class:`matplotlib.figure.Figure` objects; nothing here touches pyplot's state."""
