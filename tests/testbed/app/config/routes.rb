# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
Rails.application.routes.draw do
  get 'health', to: 'health#show'
  root 'home#index'

  # Not Mastodon's: a request that takes as long as asked, for proxy time-outs.
  get 'slow', to: 'standin#slow'

  namespace :api do
    namespace :v1 do
      resource :instance, only: :show
      resources :statuses, only: %i(create show destroy)
      resources :media, only: %i(create show)
      resources :media, only: :destroy if Mastodon::Version.deletes_media?
      get 'accounts/verify_credentials', to: 'accounts/credentials#show'
      get 'accounts/:account_id/statuses', to: 'accounts/statuses#index'
      get 'timelines/public', to: 'timelines#public'
      get 'timelines/home', to: 'timelines#home'
    end
    namespace :v2 do
      resources :media, only: :create
      resource :instance, only: :show, controller: '/api/v1/instances'
    end
  end
end
