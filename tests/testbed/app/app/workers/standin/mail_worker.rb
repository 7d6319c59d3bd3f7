# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Enqueued as what it stands for, the job that Rails sends Mastodon's mail with: it goes out by the gem mail and the same settings.
class Standin::MailWorker
  include Sidekiq::Worker
  sidekiq_options queue: 'mailers'

  def perform(recipient)
    require 'mail'
    mail = Mail.new(from: ENV.fetch('SMTP_FROM_ADDRESS'), to: recipient, subject: 'hello', body: 'hello')
    mail.delivery_method(:smtp, address: ENV.fetch('SMTP_SERVER'), port: ENV.fetch('SMTP_PORT', 25).to_i)
    mail.deliver!
  end
end
