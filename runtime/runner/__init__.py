"""Runner processes: one per loaded model. ``client`` is the server's side, ``process`` the runner's."""
