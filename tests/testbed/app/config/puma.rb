# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Read before the application and its dotenv files: only the unit's Environment=
# counts for these keys.
workers ENV.fetch('WEB_CONCURRENCY') { 2 }.to_i
threads_max = ENV.fetch('MAX_THREADS') { 5 }.to_i
threads ENV.fetch('MIN_THREADS') { threads_max }.to_i, threads_max

if ENV['SOCKET']
  bind "unix://#{ENV['SOCKET']}"
else
  bind "tcp://#{ENV.fetch('BIND', '127.0.0.1')}:#{ENV.fetch('PORT', 3000)}"
end

environment ENV.fetch('RAILS_ENV', 'development')
persistent_timeout ENV.fetch('PERSISTENT_TIMEOUT') { 20 }.to_i
preload_app!

on_worker_boot do
  ActiveSupport.on_load(:active_record) { ActiveRecord::Base.establish_connection }
end

plugin :tmp_restart
