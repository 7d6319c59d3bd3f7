# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class HomeController < ApplicationController
  def index; end
end
