# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Not Mastodon's: handles for tests.
class StandinController < ApplicationController
  LONGEST = 120

  def slow
    seconds = params[:seconds].to_f.clamp(0, LONGEST)
    sleep seconds
    render plain: "slept #{seconds}\n"
  end
end
